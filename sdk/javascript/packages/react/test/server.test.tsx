// On a server: nothing is sent, nothing asks for a window, and the page is rendered as it would be without us.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StrictMode } from 'react'
import { renderToString } from 'react-dom/server'
import { inert, shared } from '../src/client.js'
import {
  HeadwaterProvider,
  useAnalytics,
  useConsent,
  useIdentify,
  usePage,
  useTrack,
  useTrackOnce,
  version,
} from '../src/index.js'
import { noting } from './fakes.js'

function Shop() {
  const [allowed] = useConsent()
  const track = useTrack()
  const analytics = useAnalytics()
  usePage({ name: 'Shop' })
  useIdentify('u1', { plan: 'team' })
  useTrackOnce('Product Viewed')
  return (
    <button type="button" onClick={() => track('Clicked')}>
      {allowed ? 'known' : (analytics.user().id() ?? 'nobody')}
    </button>
  )
}

test('a page is rendered without a window and nothing is sent', () => {
  assert.equal(typeof window, 'undefined')
  const html = renderToString(
    <StrictMode>
      <HeadwaterProvider writeKey="wk_web" options={{ host: 'https://collect.example.com' }}>
        <Shop />
      </HeadwaterProvider>
    </StrictMode>,
  )
  assert.equal(html, '<button type="button">nobody</button>')
})

test('a client that was given is not called either', () => {
  const { client, calls } = noting()
  renderToString(
    <HeadwaterProvider analytics={client}>
      <Shop />
    </HeadwaterProvider>,
  )
  assert.deepEqual(calls, [])
})

test('no client is loaded on a server', () => {
  const made = shared('wk_web', {}, () => assert.fail('a client was loaded'))
  assert.equal(made, inert)
})

test('calls while rendering are taken and told to be dropped', async () => {
  assert.deepEqual(await inert.track('Clicked'), {
    status: 'dropped',
    messageId: '',
    type: '',
    code: 'server_rendering',
    reason: 'server_rendering',
    message: '',
    event: null,
  })
  assert.deepEqual(inert.group().traits(), {})
  assert.equal((await inert.flush()).queued, 0)
})

test('unbuilt source calls itself a development version', () => assert.equal(version, 'development'))
