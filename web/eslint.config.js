import js from "@eslint/js";
import typed from "typescript-eslint";

export default typed.config(js.configs.recommended, ...typed.configs.strict, {
  files: ["src/**/*.ts", "src/**/*.tsx", "test/**/*.ts"],
  rules: {
    "@typescript-eslint/no-non-null-assertion": "off",
    "max-lines": ["error", 400],
    "max-lines-per-function": ["error", { max: 90, skipComments: true }],
    "no-restricted-properties": ["error", { property: "innerHTML", message: "Text of users is never markup." }],
    "no-restricted-globals": ["error", "eval"],
  },
}, { ignores: ["node_modules", "*.config.js", "*.config.ts"] });
