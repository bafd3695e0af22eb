// The promise about size, measured on what is published.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { scripts } from '../../../tools/scripts.mjs'

/** Bytes, gzipped at level 9 as the collector serves them. The core's bound is the published promise, the others keep us honest. */
const LIMITS: Record<string, number> = {
  'headwater.core.js': 5 * 1024,
  'headwater.js': 6 * 1024,
}

test('the core is at most 5 KB gzipped, the usual script at most 6 KB', async () => {
  const made = await scripts({ write: false })
  for (const [name, limit] of Object.entries(LIMITS)) {
    const file = made.flatMap(({ outputFiles }) => outputFiles).find(({ path }) => path.endsWith(`/${name}`))
    assert.ok(file, `${name} is not built`)
    const size = gzipSync(file.contents, { level: 9 }).length
    assert.ok(size <= limit, `${name} has ${size} bytes gzipped; ${limit} are allowed`)
  }
})
