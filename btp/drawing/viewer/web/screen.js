// The second step of drawing: from points with depths to a picture with edges.

import * as THREE from "three";
import { SCREEN } from "viewer/shaders";

const EDGES = 6; // strength of the eye-dome lighting

export class Screen {
  constructor() {
    /** What the points are drawn into. */
    this.target = new THREE.WebGLRenderTarget(1, 1, {
      minFilter: THREE.NearestFilter,
      magFilter: THREE.NearestFilter,
      depthTexture: new THREE.DepthTexture(1, 1),
    });
    this.target.scissorTest = true;
    const names = ["picture", "depths", "near", "far", "radius", "strength", "scale", "reach"];
    this.uniforms = Object.fromEntries(names.map((name) => [name, { value: null }]));
    const material = new THREE.RawShaderMaterial({
      ...SCREEN,
      uniforms: this.uniforms,
      glslVersion: THREE.GLSL3,
      depthTest: false,
      depthWrite: false,
    });
    const wall = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), material);
    wall.frustumCulled = false;
    this.scene = new THREE.Scene();
    this.scene.add(wall);
    this.camera = new THREE.OrthographicCamera();
  }

  /**
   * Bring what has been drawn into the target to the canvas.
   *
   * @param radius of the scan, against which depths count.
   * @param scale of the target against the canvas.
   */
  light(renderer, { near, far }, radius, scale) {
    const reach = Math.max(1, Math.round(devicePixelRatio * scale * 0.75));
    const [picture, depths] = [this.target.texture, this.target.depthTexture];
    const values = { picture, depths, near, far, radius, strength: EDGES, scale, reach };
    for (const [name, value] of Object.entries(values)) this.uniforms[name].value = value;
    renderer.setRenderTarget(null);
    renderer.clear();
    renderer.render(this.scene, this.camera);
  }
}
