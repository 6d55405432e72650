/** Can the browser draw in three dimensions, and with a graphics card? Found out in the background, without delaying the page. */

// Without a graphics card, a browser's first context takes half a second to make; in a worker nothing waits for it.
const ASK = `const context = new OffscreenCanvas(1, 1).getContext("webgl2");
const told = context && context.getExtension("WEBGL_debug_renderer_info");
postMessage(told ? context.getParameter(told.UNMASKED_RENDERER_WEBGL) : "");
if (context) context.getExtension("WEBGL_lose_context")?.loseContext();`;

/** If the worker does not answer within this many milliseconds, the page itself is tried. */
const PATIENCE = 4000;

let known: Promise<void> | null = null;

/** Resolves when a context can be made without a long wait, or when that cannot be found out. */
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

/** Whether a context is drawn without a graphics card, as far as it reveals that. */
export function inSoftware(context: WebGLRenderingContext | WebGL2RenderingContext): boolean {
  const told = context.getExtension("WEBGL_debug_renderer_info");
  const name = told ? String(context.getParameter(told.UNMASKED_RENDERER_WEBGL)) : "";
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/** Milliseconds between two checks whether a graphics card has finished. */
const BETWEEN = 4;

/** Resolves once all that a context was asked to draw is drawn; otherwise the next picture of the page would wait for it. */
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
