/** How does a shape come to the graphics card before anybody sees it? Drawn by itself, on a picture of one pixel. */

import { Scene, WebGLRenderTarget, type Camera, type Light, type Object3D, type WebGLRenderer } from "three";
import { finished } from "./graphics";

export class Unseen {
  private readonly pixel = new WebGLRenderTarget(1, 1);
  private readonly scene = new Scene();

  /**
   * @param renderer - that of the relief, whose programs and buffers are made ready.
   * @param lights - those of the relief, since a program is made for so many.
   */
  constructor(private readonly renderer: WebGLRenderer, lights: readonly Light[]) {
    this.scene.add(...lights.map((light) => light.clone()));
  }

  draw(one: Object3D, camera: Camera): void {
    const { parent } = one;
    this.scene.add(one);
    this.renderer.setRenderTarget(this.pixel);
    this.renderer.render(this.scene, camera);
    this.renderer.setRenderTarget(null);
    if (parent) parent.add(one);
    else this.scene.remove(one);
  }

  /** Once all that the graphics card was asked to do is done. */
  finished(): Promise<void> {
    return finished(this.renderer.getContext() as WebGL2RenderingContext);
  }

  free(): void {
    this.pixel.dispose();
  }
}
