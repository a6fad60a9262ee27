// Programs of the graphics card. Colours go through unchanged: no colour management, no tone mapping.

const POINT_VERTEX = `
uniform mat4 modelViewMatrix, projectionMatrix;
uniform float spot, pixels, threshold, low, high;
uniform int mode; // place in MODES of pane.js
uniform sampler2D gradient;
uniform vec3 plain, defect, outside, found, missed, alarm, regions[8];
in vec3 position, normal;
in float score;
in vec2 mark; // label, region (0: none)
out vec3 base;
out float shade;

const vec3 LIGHT = vec3(-0.4, 0.5, 0.77); // from the viewer's upper left, as in pictures.py

vec3 colour() {
  bool above = score > threshold, anomalous = mark.x > 0.5;
  if (mode == 0) {
    float value = clamp((score - low) / (high - low), 0.0, 1.0);
    return above ? texture(gradient, vec2((value * 255.0 + 0.5) / 256.0, 0.5)).rgb : plain;
  }
  if (mode == 1) return anomalous ? defect : plain;
  if (mode == 2) return anomalous ? (above ? found : missed) : (above ? alarm : plain);
  if (!above) return plain;
  return mark.y > 0.5 ? regions[(int(mark.y) - 1) % 8] : outside;
}

void main() {
  vec4 seen = modelViewMatrix * vec4(position, 1.0);
  vec3 facing = normalize(mat3(modelViewMatrix) * normal);
  facing *= dot(facing, seen.xyz) > 0.0 ? -1.0 : 1.0; // normals have no side of their own
  base = colour();
  float lit = clamp((dot(facing, LIGHT) + 0.3) / 1.3, 0.0, 1.0); // reaches around corners a little
  shade = mix(base == plain ? 0.42 : 0.62, 1.0, lit); // colours stay readable in the shade
  gl_Position = projectionMatrix * seen;
  gl_PointSize = clamp(spot * pixels / -seen.z, 1.0, 128.0);
}`;

const POINT_FRAGMENT = `
precision highp float;
in vec3 base;
in float shade;
out vec4 pixel;

void main() {
  vec2 offset = gl_PointCoord - 0.5;
  if (dot(offset, offset) > 0.25) discard;
  pixel = vec4(base * shade, 1.0);
}`;

const SCREEN_VERTEX = `
in vec3 position;
void main() { gl_Position = vec4(position.xy, 0.0, 1.0); }`;

// Eye-dome lighting (C. Boucheny, 2009): what lies behind its neighbours on the screen is darker,
// which draws edges. Each pixel is the mean of scale × scale finer ones.
const SCREEN_FRAGMENT = `
precision highp float;
uniform sampler2D picture, depths;
uniform float near, far, radius, strength, scale;
uniform int reach;
out vec4 pixel;

float depth(ivec2 at, ivec2 size) {
  float stored = texelFetch(depths, clamp(at, ivec2(0), size - 1), 0).r;
  return near * far / (far - stored * (far - near));
}

vec4 sampled(ivec2 at, ivec2 size) {
  vec4 colour = texelFetch(picture, at, 0);
  if (colour.a == 0.0) return vec4(0.0);
  float own = depth(at, size), behind = 0.0;
  for (int y = -1; y <= 1; y++)
    for (int x = -1; x <= 1; x++)
      if (x != 0 || y != 0) behind += clamp((own - depth(at + reach * ivec2(x, y), size)) / radius, 0.0, 0.5);
  return vec4(colour.rgb * exp(-strength * behind / 8.0), 1.0);
}

void main() {
  ivec2 size = textureSize(picture, 0), corner = ivec2(floor(gl_FragCoord.xy) * scale);
  int samples = max(1, int(scale));
  pixel = vec4(0.0);
  for (int y = 0; y < samples; y++)
    for (int x = 0; x < samples; x++) pixel += sampled(corner + ivec2(x, y), size);
  pixel /= float(samples * samples);
}`;

export const POINTS = { vertexShader: POINT_VERTEX, fragmentShader: POINT_FRAGMENT };
export const SCREEN = { vertexShader: SCREEN_VERTEX, fragmentShader: SCREEN_FRAGMENT };
