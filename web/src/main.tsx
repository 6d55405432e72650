/** Where does the page begin? With the data inside it, or with those of the server that sent it. */

import { render } from "preact";
import { App } from "./app";
import { inside } from "./data";
import { Served } from "./served";
import { token } from "./server";
import "./style.css";

const place = document.getElementById("atlas");
const content = inside(document);
if (place && content) render(<App content={content} />, place);
else if (place) {
  token();
  render(<Served />, place);
}
