/** What draws in three dimensions: a script of its own, which depth.ts loads once all flat pictures have been shown. */

import { Relief } from "./relief";

const own = { Relief };

export type Third = typeof own;

Object.assign(globalThis, { lossatlasThird: own });
