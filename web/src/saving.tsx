/** What can be saved from any page? The relief as a picture or a solid, and all values. */

import type { Content } from "./data";
import { glb } from "./glb";
import { csv, npz, save } from "./save";
import { reliefs } from "./solid";

export function Saving({ content }: { content: Content }) {
  if (!content.blocks.length && !content.curves.length) return null;
  const picture = (): void => reliefs[0]?.painted().toBlob((blob) => blob && save("landscape.png", "image/png", blob));
  const solid = (): void => save("landscape.glb", "model/gltf-binary", glb(reliefs.flatMap((one) => one.shape ?? [])));
  return (
    <p class="saving">
      Save {content.blocks.length > 0 && <>the relief as <button type="button" id="save-png" onClick={picture}>png</button> <button type="button" id="save-glb" onClick={solid}>glb</button>, </>}
      all values as <button type="button" id="save-csv" onClick={() => save("landscape.csv", "text/csv", csv(content))}>csv</button>{" "}
        <button type="button" id="save-npz" onClick={() => save("landscape.npz", "application/zip", npz(content))}>npz</button>
    </p>
  );
}
