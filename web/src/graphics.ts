/** Can the browser draw in three dimensions, and with a graphics card? Asked beside the page, which does not wait. */

// Without a graphics card the first context of a browser takes half a second to make; in a worker nobody waits for it.
const ASK = `const context = new OffscreenCanvas(1, 1).getContext("webgl2");
const told = context && context.getExtension("WEBGL_debug_renderer_info");
postMessage(told ? context.getParameter(told.UNMASKED_RENDERER_WEBGL) : "");
if (context) context.getExtension("WEBGL_lose_context")?.loseContext();`;

/** A browser that answers no worker is asked on the page itself after so many milliseconds. */
const PATIENCE = 4000;

let known: Promise<void> | null = null;

/** Resolves when a context can be made without a long wait, or when it is not known whether it can. */
export function graphics(): Promise<void> {
  return (known ??= new Promise((resolve) => {
    try {
      const address = URL.createObjectURL(new Blob([ASK], { type: "text/javascript" }));
      const worker = new Worker(address);
      const end = (): void => {
        worker.terminate();
        URL.revokeObjectURL(address);
        resolve();
      };
      worker.onmessage = worker.onerror = end;
      setTimeout(end, PATIENCE);
    } catch {
      resolve(); // a page that allows no worker
    }
  }));
}

/** Whether a context is drawn without a graphics card, as far as it says so. */
export function inSoftware(context: WebGLRenderingContext | WebGL2RenderingContext): boolean {
  const told = context.getExtension("WEBGL_debug_renderer_info");
  const name = told ? String(context.getParameter(told.UNMASKED_RENDERER_WEBGL)) : "";
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** So many milliseconds pass between two looks whether a graphics card has finished. */
const BETWEEN = 4;

/** Once all that a context was asked to draw is drawn, without which the next picture of the page waits for it. */
export function finished(context: WebGL2RenderingContext): Promise<void> {
  const mark = context.fenceSync(context.SYNC_GPU_COMMANDS_COMPLETE, 0);
  context.flush();
  if (!mark) return Promise.resolve();
  return new Promise((done) => {
    const look = (): void => {
      if (context.clientWaitSync(mark, 0, 0) === context.TIMEOUT_EXPIRED) return void setTimeout(look, BETWEEN);
      context.deleteSync(mark);
      done();
    };
    setTimeout(look, BETWEEN);
  });
}
