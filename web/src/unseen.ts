/** How does a shape get to the graphics card before it is shown? Drawn by itself, on a picture of one pixel. */

import { Scene, WebGLRenderTarget, type Camera, type Light, type Object3D, type WebGLRenderer } from "three";
import { finished } from "./graphics";

export class Unseen {
  private readonly pixel = new WebGLRenderTarget(1, 1);
  private readonly scene = new Scene();

  /**
   * @param renderer - that of the relief, whose programs and buffers are made ready.
   * @param lights - those of the relief, since a program depends on their number.
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

  /** Resolves once the graphics card has done all that it was asked to do. */
  finished(): Promise<void> {
    return finished(this.renderer.getContext() as WebGL2RenderingContext);
  }

  free(): void {
    this.pixel.dispose();
  }
}
