// The clouds on the screen: one camera, one or two panes side by side, drawn only when needed.

import * as THREE from "three";
import { blend, channels, OUTSIDE, REGIONS, VERDICTS } from "viewer/colours";
import { bestView, rowUnder } from "viewer/camera";
import { Screen } from "viewer/screen";
import { POINTS } from "viewer/shaders";

const SPOT = 1.65; // diameter of a spot against the distance to its sixth neighbour
const SLOW = 70; // milliseconds for a picture, from where on it is drawn coarsely in motion
const ANGLE = 26; // vertical opening of the camera, degrees

export class View {
  /**
   * @param canvas filled by the view.
   * @param colours stops of the scores' scale.
   * @param drawn called after each drawing, to move what lies over the picture.
   */
  constructor(canvas, colours, drawn) {
    this.canvas = canvas;
    this.drawn = drawn;
    this.renderer = new THREE.WebGLRenderer({ canvas, alpha: true, antialias: false });
    this.renderer.autoClear = false;
    this.camera = new THREE.PerspectiveCamera(ANGLE, 1, 0.1, 10);
    this.camera.up.set(0, 0, 1);
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.dampingFactor = 0.12;
    this.controls.enableDamping = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.controls.addEventListener("change", () => this.request());
    this.panes = [this.#pane(colours), this.#pane(colours)];
    this.shown = 1;
    this.spots = 1;
    this.before = 0;
    this.coarse = drawsInSoftware(this.renderer.getContext());
    this.fine = devicePixelRatio < 1.5 ? 2 : 1;
    this.screen = new Screen();
    new ResizeObserver(() => this.request()).observe(canvas);
  }

  /** Show another scan, from its best side. */
  show(cloud) {
    this.cloud = cloud;
    const { positions, normals, labels, regions } = cloud;
    const mark = new Float32Array((2 * positions.length) / 3);
    for (let row = 0; row < mark.length / 2; row++) {
      mark[2 * row] = labels?.[row] ?? 0;
      mark[2 * row + 1] = regions?.[row] ?? 0;
    }
    const shared = {
      position: new THREE.BufferAttribute(positions, 3),
      normal: new THREE.BufferAttribute(normals, 3),
      mark: new THREE.BufferAttribute(mark, 2),
    };
    for (const { points } of this.panes) {
      points.geometry.dispose();
      points.geometry = new THREE.BufferGeometry();
      for (const [name, values] of Object.entries(shared)) points.geometry.setAttribute(name, values);
    }
  }

  /** Which detector's scores a pane shows, and how: mode, threshold, low and high of the colours. */
  set(number, { detector, mode, threshold, low, high }) {
    const { points, uniforms } = this.panes[number];
    const scores = this.cloud.scores[detector];
    if (points.geometry.getAttribute("score")?.array !== scores) {
      points.geometry.setAttribute("score", new THREE.BufferAttribute(scores, 1));
    }
    for (const [name, value] of Object.entries({ mode, threshold, low, high })) {
      uniforms[name].value = value;
    }
    this.request();
  }

  /** One view of the scan, or two side by side, at the same size in the narrower place. */
  split(panes) {
    const before = this.cloud && this.#distance();
    this.shown = panes;
    if (!before) return;
    const offset = this.camera.position.clone().sub(this.controls.target);
    offset.multiplyScalar(this.#distance() / before);
    this.camera.position.copy(this.controls.target).add(offset);
    this.request();
  }

  /** Look at the whole scan from the side of what matters most in it. */
  reset(detector) {
    const { radius } = this.cloud;
    const towards = bestView(this.cloud, detector);
    this.controls.target.set(0, 0, 0);
    this.camera.position.set(...towards.map((part) => part * this.#distance()));
    this.controls.minDistance = radius / 50;
    this.controls.maxDistance = radius * 30;
    this.controls.update();
    this.request();
  }

  /** Turn around a place (around the scan's middle), close enough to fill a third of the view. */
  aim(centre, radius) {
    const towards = this.camera.position.clone().sub(this.controls.target).normalize();
    this.controls.target.set(...centre);
    const distance = Math.max(this.#distance() * ((3 * radius) / this.cloud.radius), this.#distance() / 10);
    this.camera.position.copy(towards.multiplyScalar(distance)).add(this.controls.target);
    this.request();
  }

  /** Where a point (around the scan's middle) is drawn in the first pane, in CSS pixels. */
  project(position) {
    const place = new THREE.Vector3(...position).project(this.camera);
    const { width, height } = this.canvas.getBoundingClientRect();
    return [((place.x + 1) / 2) * (width / this.shown), ((1 - place.y) / 2) * height];
  }

  /** Row of the point that is drawn at a place of a pane in CSS pixels, or -1. */
  rowAt(place) {
    const size = [this.canvas.clientWidth / this.shown, this.canvas.clientHeight];
    const radius = (this.#spot() * this.#pixels(size[1])) / 2;
    return rowUnder(this.cloud, this.camera, place, size, radius);
  }

  /** Length in the scan's units of one CSS pixel at the point that the camera turns around. */
  unitsPerPixel() {
    const distance = this.camera.position.distanceTo(this.controls.target);
    return distance / this.#pixels(this.canvas.clientHeight);
  }

  /** Draw soon: roughly at once, finely when nothing has moved for a moment. */
  request() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = undefined;
      this.controls.update();
      const passed = performance.now() - this.before;
      this.before += passed;
      if (passed < SLOW) this.coarse = false;
      else if (passed < 1000) this.coarse = true; // longer: nothing was moving
      this.#draw(this.coarse ? 0.5 : 1);
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.#draw(this.coarse ? 1 : this.fine), 150);
    });
  }

  #spot() {
    return SPOT * this.cloud.about.spot * this.spots;
  }

  /** How many pixels a length of 1 at a distance of 1 has. */
  #pixels(height) {
    return height / (2 * Math.tan((ANGLE * Math.PI) / 360));
  }

  #distance() {
    const aspect = this.canvas.clientWidth / this.shown / Math.max(1, this.canvas.clientHeight);
    const narrow = Math.min(1, aspect);
    return (1.02 * this.cloud.radius) / (Math.sin((ANGLE * Math.PI) / 360) * narrow);
  }

  #pane(colours) {
    const values = new Uint8Array(4 * 256);
    for (let i = 0; i < 256; i++) {
      values.set([...blend(colours, i / 255).map((channel) => Math.round(255 * channel)), 255], 4 * i);
    }
    const gradient = new THREE.DataTexture(values, 256, 1);
    gradient.needsUpdate = true;
    const fixed = {
      gradient,
      plain: channels(colours[0]),
      defect: channels(colours[colours.length - 2]),
      outside: channels(OUTSIDE),
      ...Object.fromEntries(Object.entries(VERDICTS).map(([name, c]) => [name, channels(c)])),
      regions: REGIONS.flatMap(channels),
    };
    const changing = { spot: 1, pixels: 1, threshold: 0, low: 0, high: 1, mode: 0 };
    const uniforms = Object.fromEntries(
      Object.entries({ ...fixed, ...changing }).map(([name, value]) => [name, { value }]),
    );
    const material = new THREE.RawShaderMaterial({ ...POINTS, uniforms, glslVersion: THREE.GLSL3 });
    const points = new THREE.Points(new THREE.BufferGeometry(), material);
    points.frustumCulled = false;
    const scene = new THREE.Scene();
    scene.add(points);
    return { scene, points, uniforms };
  }

  /** @param scale of what is drawn against the screen: 2 draws four points for a pixel. */
  #draw(scale) {
    const { clientWidth, clientHeight } = this.canvas;
    if (!this.cloud || !clientWidth || !clientHeight) return;
    const [width, height] = [clientWidth, clientHeight].map((n) => Math.round(n * devicePixelRatio));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.renderer.setSize(width, height, false);
    }
    const size = { width: Math.ceil(width * scale), height: Math.ceil(height * scale) };
    const { target } = this.screen;
    target.setSize(size.width, size.height);
    this.#placeCamera();
    const column = Math.floor(size.width / this.shown);
    for (let number = 0; number < this.shown; number++) {
      const { scene, uniforms } = this.panes[number];
      const part = [number * column, 0, column, size.height];
      target.viewport.set(...part);
      target.scissor.set(...part);
      this.renderer.setRenderTarget(target);
      this.renderer.setClearColor(0, 0);
      this.renderer.clear();
      uniforms.spot.value = this.#spot();
      uniforms.pixels.value = this.#pixels(size.height);
      this.renderer.render(scene, this.camera);
    }
    this.screen.light(this.renderer, this.camera, this.cloud.radius, scale);
    this.drawn();
  }

  #placeCamera() {
    const { camera, cloud } = this;
    const distance = camera.position.distanceTo(this.controls.target);
    const reach = camera.position.length() + 1.1 * cloud.radius;
    camera.aspect = this.canvas.clientWidth / this.shown / this.canvas.clientHeight;
    camera.near = Math.max(distance / 100, camera.position.length() - 1.1 * cloud.radius);
    camera.far = Math.max(reach, camera.near * 1.01);
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
  }
}

/** Whether there is no graphics card, so that every pixel counts. */
function drawsInSoftware(context) {
  const told = context.getExtension("WEBGL_debug_renderer_info");
  const name = told ? context.getParameter(told.UNMASKED_RENDERER_WEBGL) : "";
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}
