// What each package's build.mjs calls: bundles with source maps into dist/, and declarations beside them.
import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { build } from 'esbuild'

/** The one version of all SDKs, from sdk/VERSION. */
export const version = readFileSync(new URL('../../VERSION', import.meta.url), 'utf8').trim()

/** Bundles `entry` into `outfile`; `__VERSION__` in the source becomes the version. */
export function bundle(entry, outfile, options = {}) {
  return build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    sourcemap: true,
    legalComments: 'none',
    target: 'es2022',
    logLevel: 'warning',
    define: { __VERSION__: JSON.stringify(version) },
    ...options,
  })
}

/** `entry` as dist/NAME.js (ESM) and dist/NAME.cjs. */
export async function modules(entry, name, options = {}) {
  await bundle(entry, `dist/${name}.js`, { format: 'esm', ...options })
  await bundle(entry, `dist/${name}.cjs`, { format: 'cjs', ...options })
}

/** Declarations from tsconfig.build.json: dist/types for `import`, the same under dist/types-cjs for `require`. */
export function declarations() {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
  cpSync('dist/types', 'dist/types-cjs', { recursive: true })
  writeFileSync('dist/types-cjs/package.json', '{ "type": "commonjs" }\n')
}

/** Removes what an older build left. */
export function clean() {
  rmSync('dist', { recursive: true, force: true })
}
