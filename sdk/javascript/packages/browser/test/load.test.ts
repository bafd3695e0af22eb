// analytics-next's way of loading, for code that is moved by changing the import.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AnalyticsBrowser } from '../src/load.js'
import { FakePage } from './fake.js'

test('AnalyticsBrowser.load is the SDK, and awaited it is a pair too', async () => {
  const page = new FakePage()
  Object.assign(globalThis, { window: page.platform().window })
  const loaded = AnalyticsBrowser.load({ writeKey: 'wk', cdnURL: 'https://collect.example.com' })
  const [analytics] = await loaded
  assert.equal(analytics, loaded)
  assert.equal(analytics?.writeKey, 'wk')
  assert.throws(() => AnalyticsBrowser.load({ writeKey: '' }), /needs both/)
})
