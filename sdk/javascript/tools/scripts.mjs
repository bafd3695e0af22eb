// The scripts for tags: what `npm run build` puts into dist/ and `npm run collector` into the collector.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { minify } from 'terser'
import { bundle } from './bundle.mjs'

const absWorkingDir = fileURLToPath(new URL('../packages/browser', import.meta.url))

/** Properties that only the core's own modules use. They are shortened where nothing but the core is in the bundle. */
const INTERNAL =
  /^(pending|store|waiting|finish|take|json|bytes|tries|over|update|hide|pause|wake|online|held|note|report|making|heads|given|extras|heard|become|forget|uuid|done|key|run|remove)$/

/** Name to entry, below packages/browser. */
export const SCRIPTS = {
  'headwater.core.js': { entry: 'src/core.ts', mangleProps: INTERNAL },
  'headwater.js': { entry: 'src/iife.ts', mangleProps: INTERNAL },
  'headwater.segment.js': { entry: 'src/segment.ts', mangleProps: INTERNAL },
  'headwater.full.js': { entry: 'src/plugins/full.ts' },
}

/** esbuild bundles, terser makes it small: a twentieth less than esbuild alone. */
async function script(name, { entry, mangleProps }) {
  const options = {
    format: 'iife',
    target: 'es2019',
    absWorkingDir,
    sourcemap: 'external',
    write: false,
    mangleProps,
  }
  const { outputFiles } = await bundle(entry, `dist/${name}`, options)
  const [map, code] = outputFiles.map((file) => file.text)
  const done = await minify(
    { [name]: code },
    {
      ecma: 2019,
      compress: { passes: 2, pure_getters: true, toplevel: true, unsafe_arrows: true, keep_fargs: false },
      mangle: true,
      sourceMap: { content: map, filename: name, includeSources: true, url: `${name}.map` },
    },
  )
  return [
    { path: `${absWorkingDir}/dist/${name}`, contents: Buffer.from(done.code) },
    { path: `${absWorkingDir}/dist/${name}.map`, contents: Buffer.from(done.map) },
  ]
}

/** Makes every script; returned are its files, as esbuild returns them. */
export async function scripts({ write = true } = {}) {
  const made = await Promise.all(Object.entries(SCRIPTS).map(([name, options]) => script(name, options)))
  for (const { path, contents } of write ? made.flat() : []) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, contents)
  }
  return made.map((outputFiles) => ({ outputFiles }))
}
