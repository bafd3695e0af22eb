// Stamps sdk/VERSION into every package.json: `node tools/version.mjs`; with `--check` it only compares.
import { readFileSync, writeFileSync } from 'node:fs'
import { version } from './bundle.mjs'

for (const name of ['browser', 'node', 'react']) {
  const file = new URL(`../packages/${name}/package.json`, import.meta.url)
  const text = readFileSync(file, 'utf8')
  const found = JSON.parse(text).version
  if (found === version) continue
  if (process.argv.includes('--check')) {
    console.error(
      `packages/${name}/package.json says ${found}, sdk/VERSION says ${version}: run node tools/version.mjs`,
    )
    process.exitCode = 1
  } else {
    writeFileSync(file, text.replace(`"version": "${found}"`, `"version": "${version}"`))
  }
}
