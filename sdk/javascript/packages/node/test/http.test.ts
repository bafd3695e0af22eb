// The adapters, in the frameworks themselves.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, mock, test } from 'node:test'
import expressApp from 'express'
import fastifyApp from 'fastify'
import { express, fastify, pages } from '../src/http.js'
import { Recorder } from '../src/testing.js'
import type { Message } from '../src/types.js'

let recorder: Recorder
let stops: (() => unknown)[]

beforeEach(() => {
  recorder = new Recorder()
  stops = []
})

afterEach(async () => {
  for (const stop of stops) await stop()
})

async function listen(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  stops.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const visit = (url: string, headers: Record<string, string> = {}) =>
  fetch(url, { headers: { accept: 'text/html', ...headers }, redirect: 'manual' })

/** The page view comes when the response is finished, which the client may see first. */
async function sent(count: number): Promise<Message[]> {
  for (let turn = 0; recorder.messages.length < count && turn < 1000; turn++) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(recorder.messages.length, count)
  return recorder.messages
}

/** What holds for all of them: `origin` serves a page at /page that tracks Seen, JSON at /api and a failure at /missing. */
async function behaves(origin: string): Promise<void> {
  const response = await visit(`${origin}/page?utm_source=mail`, { referer: 'https://search.example/' })
  const cookie = String(response.headers.get('set-cookie'))
  const id = /ajs_anonymous_id=([^;]+)/.exec(cookie)?.[1]
  assert.match(cookie, /app=1/, "the app's own cookie is still there")
  const [seen, page] = await sent(2)
  assert.deepEqual([seen?.event, seen?.anonymousId], ['Seen', id])
  assert.deepEqual([page?.type, page?.anonymousId, page?.properties?.path], ['page', id, '/page'])
  assert.deepEqual(page?.context.campaign, { source: 'mail' })
  assert.equal(page?.properties?.url, `${origin}/page?utm_source=mail`)
  recorder.clear()
  const api = await fetch(`${origin}/api`, { headers: { cookie: `ajs_anonymous_id=${id}` } })
  assert.equal(api.headers.get('set-cookie'), null)
  await visit(`${origin}/missing`)
  const again = await visit(`${origin}/page`, { cookie: `ajs_anonymous_id=${id}` })
  assert.doesNotMatch(String(again.headers.get('set-cookie')), /ajs_/)
  const messages = await sent(2)
  assert.ok(
    messages.every(({ anonymousId }) => anonymousId === id),
    'the visitor is the same',
  )
}

test('Express: page views, a cookie once, and the visitor on what a handler tracks', async () => {
  const app = expressApp()
  app.use(express(recorder))
  app.get('/page', async (_, response) => {
    await Promise.resolve()
    recorder.track({ event: 'Seen' })
    response.cookie('app', '1').type('html').send('<h1>Hello</h1>')
  })
  app.get('/api', (_, response) => {
    response.json({})
  })
  await behaves(await listen(app))
})

test('a plain server, whose handler gives all headers to writeHead', async () => {
  const middleware = express(recorder)
  const origin = await listen((request, response) =>
    middleware(request, response, () => {
      if (request.url === '/api')
        return response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      if (!request.url?.startsWith('/page')) return response.writeHead(404).end()
      recorder.track({ event: 'Seen' })
      return response.writeHead(200, { 'content-type': 'text/html', 'x-a': 'b' }).end('<h1>Hello</h1>')
    }),
  )
  await visit(`${origin}/page`)
  await visit(`${origin}/page`, { cookie: 'ajs_anonymous_id=abc' })
  await visit(`${origin}/missing`, { cookie: 'ajs_anonymous_id=abc' })
  const pages = (await sent(4)).filter(({ type }) => type === 'page')
  assert.deepEqual([pages.length, pages[1]?.anonymousId], [2, 'abc'])
})

test('Fastify: page views, a cookie once, and the visitor on what a handler tracks', async () => {
  const app = fastifyApp()
  app.register(fastify(recorder))
  app.get('/page', async (_, reply) => {
    await Promise.resolve()
    recorder.track({ event: 'Seen' })
    return reply.header('set-cookie', 'app=1').type('text/html').send('<h1>Hello</h1>')
  })
  app.get('/api', async () => ({}))
  stops.push(() => app.close())
  await behaves(await app.listen({ port: 0, host: '127.0.0.1' }))
})

function site(request: Request): Response {
  const { pathname } = new URL(request.url)
  if (pathname === '/api') return Response.json({})
  if (pathname !== '/page')
    return new Response('no', { status: 404, headers: { 'content-type': 'text/html' } })
  recorder.track({ event: 'Seen' })
  return new Response('<h1>Hello</h1>', { headers: { 'content-type': 'text/html', 'set-cookie': 'app=1' } })
}

test('Request to Response: page views, a cookie once, and the visitor on what a handler tracks', async () => {
  const handler = pages(recorder, site)
  const origin = await listen(async (incoming, outgoing) => {
    const headers = new Headers(incoming.headers as Record<string, string>)
    const response = await handler(new Request(`http://${incoming.headers.host}${incoming.url}`, { headers }))
    response.headers.forEach((value, name) => {
      outgoing.appendHeader(name, value)
    })
    outgoing.writeHead(response.status).end(await response.text())
  })
  await behaves(origin)
})

test('Next.js middleware: the page is counted before it exists, and the platform waits for delivery', async () => {
  const waits: Promise<unknown>[] = []
  const middleware = pages(
    recorder,
    (_request: Request, _event: object) => new Response(null, { headers: { 'x-middleware-next': '1' } }),
  )
  const request = new Request('https://shop.example/a', { headers: { accept: 'text/html' } })
  const response = await middleware(request, {
    waitUntil: (promise: Promise<unknown>) => waits.push(promise),
  })
  assert.match(String(response.headers.get('set-cookie')), /^ajs_anonymous_id=.*Secure$/)
  assert.equal(recorder.ofType('page').length, 1)
  assert.deepEqual(
    await Promise.all(waits.map(async (wait) => ((await wait) as { delivered: number }).delivered)),
    [1],
  )
})

test('a response whose headers cannot be changed gets its cookie on a copy', async () => {
  const handler = pages(recorder, () => Response.redirect('https://shop.example/b'))
  const response = await handler(new Request('https://shop.example/a', { headers: { accept: 'text/html' } }))
  assert.deepEqual([response.status, response.headers.get('location')], [302, 'https://shop.example/b'])
  assert.match(String(response.headers.get('set-cookie')), /^ajs_anonymous_id=/)
  assert.equal(recorder.messages.length, 0, 'a redirect shows no page')
})

test('an option that throws costs the page view, never the response', async (t) => {
  const warn = mock.method(console, 'warn', () => {})
  t.after(() => warn.mock.restore())
  const app = expressApp()
  app.use(
    express(recorder, {
      userId: () => {
        throw new Error('session store is away')
      },
    }),
  )
  app.get('/page', (_, response) => {
    response.type('html').send('fine')
  })
  assert.equal(await (await visit(`${await listen(app)}/page`)).text(), 'fine')
  assert.match(String(warn.mock.calls[0]?.arguments[0]), /session store is away/)
})
