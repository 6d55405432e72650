/** What draws in three dimensions: a script of its own, which depth.ts brings once all that is flat has been seen. */

import { Relief } from "./relief";

const own = { Relief };

export type Third = typeof own;

Object.assign(globalThis, { lossatlasThird: own });
