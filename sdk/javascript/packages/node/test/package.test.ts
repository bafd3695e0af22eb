// What is published: installed alone in an empty directory it can be imported, required and type-checked.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { built, PACKAGE } from './support/built.js'

let app: string

before(() => {
  built()
  app = mkdtempSync(join(tmpdir(), 'headwater-node-'))
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', app, PACKAGE], PACKAGE),
  )
  writeFileSync(join(app, 'package.json'), '{"private":true,"type":"module"}')
  run('npm', [
    'install',
    '--offline',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
    join(app, packed.filename),
  ])
})

after(() => rmSync(app, { recursive: true, force: true }))

function run(command: string, args: string[], cwd = app): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'))

test('it is imported and required, each entry of it, and knows its version', () => {
  const check =
    'console.log(new Analytics({ writeKey: "wk", host: "http://c.example" }).VERSION, typeof express, typeof Recorder)'
  writeFileSync(
    join(app, 'app.mjs'),
    `import { Analytics } from '@headwater/node'; import { express } from '@headwater/node/http';
     import { Recorder } from '@headwater/node/testing'; ${check}`,
  )
  writeFileSync(
    join(app, 'app.cjs'),
    `const { Analytics } = require('@headwater/node'); const { express } = require('@headwater/node/http');
     const { Recorder } = require('@headwater/node/testing'); ${check}`,
  )
  for (const file of ['app.mjs', 'app.cjs'])
    assert.equal(run(process.execPath, [file]), `${version} function function\n`)
})

test('its types hold for ES modules and CommonJS, without the types of Node, and refuse what is wrong', () => {
  const good = `
    analytics.track({ userId: 'u1', event: 'A', properties: { n: 1n } })
    const report: Promise<{ delivered: number }> = analytics.flush({ timeout: 1 })
    analytics.on('error', ({ code }) => code.toUpperCase())
    analytics.b2b.trialStarted({ userId: 1, accountId: 'acme', trialEndDate: new Date() })
    // @ts-expect-error: an event is needed
    analytics.track({ userId: 'u1' })
    // @ts-expect-error: no such policy
    new Analytics({ writeKey: 'wk', host: 'h', overflow: 'spill' })
    export { report }`
  const settings = `{ writeKey: 'wk', host: 'https://c.example' }`
  writeFileSync(
    join(app, 'esm.mts'),
    `import DefaultExport, { Analytics } from '@headwater/node'
     const analytics = new Analytics(${settings}); new DefaultExport(${settings})${good}`,
  )
  writeFileSync(
    join(app, 'cjs.cts'),
    `import { Analytics } from '@headwater/node'; const analytics = new Analytics(${settings})${good}`,
  )
  const compilerOptions = {
    strict: true,
    noEmit: true,
    skipDefaultLibCheck: true,
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022', 'dom'],
    types: [],
  }
  writeFileSync(
    join(app, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['esm.mts', 'cjs.cts'] }),
  )
  run(process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc')])
})

test('it has no dependencies, and its code names no module but its own', () => {
  const manifest = JSON.parse(readFileSync(join(app, 'node_modules/@headwater/node/package.json'), 'utf8'))
  assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined])
  for (const name of ['index', 'http', 'testing']) {
    const code = readFileSync(built(`${name}.js`), 'utf8')
    assert.doesNotMatch(code, /^\s*import |\bfrom\s*["']|\brequire\(/m, `${name}.js`)
    assert.ok(JSON.parse(readFileSync(built(`${name}.js.map`), 'utf8')).sourcesContent.length > 0)
  }
})
