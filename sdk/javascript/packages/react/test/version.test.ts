// The package says which version it is.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { version } from '../src/index.js'

test('unbuilt source calls itself a development version', () => {
  assert.equal(version, 'development')
})
