// A client that cannot be made: a missing address in one environment must not take the app down there.
import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { load } from '@headwater/browser'
import { inert, shared } from '../src/client.js'

test('without a host nothing is sent, the console says why, once, and nothing is thrown while rendering', () => {
  const page = globalThis as { window?: object }
  page.window = {}
  const complaint = mock.method(console, 'error', () => {})
  try {
    assert.equal(shared('wk_hostless', {}, load), inert)
    assert.equal(shared('wk_hostless', {}, load), inert)
  } finally {
    delete page.window
    complaint.mock.restore()
  }
  assert.equal(complaint.mock.callCount(), 1)
  assert.match(String(complaint.mock.calls[0]!.arguments[0]), /host/)
})
