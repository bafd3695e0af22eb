// Stamps sdk/VERSION into every package, Python's included: `node tools/version.mjs`; with `--check` it only compares.
// `make sdk-version V=1.2.3` is the way to a new version.
import { readFileSync, writeFileSync } from 'node:fs'

const sdk = process.env.SDK ?? new URL('../../', import.meta.url).pathname
const version = readFileSync(`${sdk}/VERSION`, 'utf8').trim()
if (!/^\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?$/.test(version)) {
  throw new Error(`sdk/VERSION is ${JSON.stringify(version)}; it must be like 1.2.3 or 1.2.3-rc.1`)
}

const OWN = /^( {2}"version": ")([^"]+)/m
const PLACES = [
  ['python/src/headwater_sdk/_version.py', /^(VERSION = ")([^"]+)/m, python(version)],
  ...['browser', 'node', 'react'].map((name) => [`javascript/packages/${name}/package.json`, OWN, version]),
  ['javascript/packages/react/package.json', /("@headwater\/browser": ")([^"]+)/, version],
  ...['browser', 'node', 'react'].map((name) => [
    'javascript/package-lock.json',
    new RegExp(`("name": "@headwater/${name}",\\n {6}"version": ")([^"]+)`),
    version,
  ]),
  ['javascript/package-lock.json', /("@headwater\/browser": ")([^"]+)/, version],
]

for (const [name, pattern, wanted] of PLACES) {
  const file = `${sdk}/${name}`
  const text = readFileSync(file, 'utf8')
  const found = pattern.exec(text)?.[2]
  if (found === undefined) throw new Error(`sdk/${name} has no version where ${pattern} looks for it`)
  if (found === wanted) continue
  if (process.argv.includes('--check')) {
    console.error(`sdk/${name} says ${found}, sdk/VERSION says ${version}: run make sdk-version V=${version}`)
    process.exitCode = 1
  } else {
    writeFileSync(
      file,
      text.replace(pattern, (_, before) => before + wanted),
    )
    console.log(`sdk/${name}: ${found} -> ${wanted}`)
  }
}

/** The same version as Python packages write it: 1.2.3-rc.1 is 1.2.3rc1. */
function python(text) {
  return text.replace(
    /-(alpha|beta|rc)\.(\d+)$/,
    (_, kind, number) => (kind === 'rc' ? kind : kind[0]) + number,
  )
}
