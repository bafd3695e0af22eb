// The clients that are compared, as an application creates them: each with its own defaults. Node loads the stock one as CommonJS.
const stock = new URL(
  '../../../../../tests/e2e/node/node_modules/@segment/analytics-node/dist/cjs/index.js',
  import.meta.url,
).href
const ours = new URL('../dist/index.js', import.meta.url).href

const create =
  (path, more = {}) =>
  async (settings) => {
    const { Analytics } = await import(path)
    return new Analytics({ writeKey: 'bench', ...settings, ...more }).on('error', () => {})
  }

export const SDKS = {
  headwater: { path: ours, create: create(ours) },
  segment: { path: stock, create: create(stock) },
  /** Segment's with our size of requests, for a comparison of the client alone. */
  segment_100: { path: stock, create: create(stock, { flushAt: 100 }) },
}
