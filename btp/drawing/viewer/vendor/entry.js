// What the viewer uses of three.js; README.md says how the file beside this one is made from it.
export {
  BufferAttribute,
  BufferGeometry,
  DataTexture,
  DepthTexture,
  GLSL3,
  LinearFilter,
  Mesh,
  NearestFilter,
  OrthographicCamera,
  PerspectiveCamera,
  PlaneGeometry,
  Points,
  RawShaderMaterial,
  Scene,
  Vector3,
  WebGLRenderTarget,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
