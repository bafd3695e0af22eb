// @headwater/browser: what the package exports.
export { AnalyticsBrowser, load, type SegmentSettings } from './load.js'
export type { Plugin } from './plugin.js'
export type * from './types.js'
export { version } from './version.js'
