/** Where does the page begin? With the data inside it, with data from its server, or in a cell of a notebook. */

import { render } from "preact";
import { App } from "./app";
import { inside } from "./data";
import { Notebook } from "./notebook";
import { Served } from "./served";
import { token } from "./server";
import "./style.css";

const place = document.getElementById("atlas");
const content = inside(document);
place?.replaceChildren();
if (place && content) render(<App content={content} />, place);
else if (place) {
  token();
  render(<Served />, place);
}

/** What the widget of lossatlas calls; see draw/widget.py. */
Object.assign(globalThis, { lossatlasNotebook: Notebook });
