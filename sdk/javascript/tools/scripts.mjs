// The scripts for tags: what `npm run build` puts into dist/ and `npm run collector` into the collector.
import { fileURLToPath } from 'node:url'
import { bundle } from './bundle.mjs'

const absWorkingDir = fileURLToPath(new URL('../packages/browser', import.meta.url))
const OPTIONS = { format: 'iife', minify: true, target: 'es2019', absWorkingDir }

/** Name to entry, below packages/browser. */
export const SCRIPTS = {
  'headwater.js': 'src/iife.ts',
  'headwater.full.js': 'src/plugins/full.ts',
}

/** Bundles every script; esbuild's results. */
export function scripts(options = {}) {
  const all = Object.entries(SCRIPTS)
  return Promise.all(all.map(([name, entry]) => bundle(entry, `dist/${name}`, { ...OPTIONS, ...options })))
}
