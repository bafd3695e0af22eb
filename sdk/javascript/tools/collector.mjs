// `npm run collector`: builds the scripts for tags and puts them where the collector serves them, collector/browser/VERSION.
// `npm run collector -- --check` writes nothing: it names every file that is not what this source makes, and fails.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { version } from './bundle.mjs'
import { scripts } from './scripts.mjs'

const folder = new URL(`../../../collector/browser/${version}/`, import.meta.url)
const files = {}
for (const { outputFiles } of await scripts({ write: false })) {
  for (const { path, contents } of outputFiles) files[basename(path)] = Buffer.from(contents)
}
const described = Object.keys(files)
  .filter((name) => name.endsWith('.js'))
  .sort()
  .map((name) => [name, { bytes: files[name].length, integrity: integrity(files[name]) }])
const manifest = { version, files: Object.fromEntries(described) }
files['manifest.json'] = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)

mkdirSync(folder, { recursive: true })
for (const [name, body] of Object.entries(files)) {
  const file = new URL(name, folder)
  if (existsSync(file) && readFileSync(file).equals(body)) continue
  if (process.argv.includes('--check')) {
    console.error(`collector/browser/${version}/${name} is not what the source makes: run npm run collector`)
    process.exitCode = 1
  } else {
    writeFileSync(file, body)
    console.log(`wrote collector/browser/${version}/${name} (${body.length} bytes)`)
  }
}

function integrity(body) {
  return `sha384-${createHash('sha384').update(body).digest('base64')}`
}
