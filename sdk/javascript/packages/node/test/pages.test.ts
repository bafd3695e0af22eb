// What a request says about its visitor and page.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { globalPrivacyControl, type PageRequest, pageView, showedPage } from '../src/pages.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

function visit(
  url = '/pricing?plan=pro',
  headers: Record<string, string> = {},
  more: Partial<PageRequest> = {},
): PageRequest {
  return {
    method: 'GET',
    url,
    headers: { host: 'shop.example', accept: 'text/html,*/*', ...headers },
    ...more,
  }
}

test('a first visit is a page view with an anonymous id of its own, which the cookie keeps for a year', () => {
  const { scope, page, cookie } = pageView(
    visit(
      '/pricing?plan=pro&utm_campaign=spring&utm_source=mail&utm_term=x',
      {
        referer: 'https://search.example/',
        'user-agent': 'Mozilla/5.0',
        'accept-language': 'de-AT,de;q=0.9',
      },
      { ip: '192.0.2.1' },
    ),
  )
  assert.match(String(scope.anonymousId), UUID)
  assert.equal(cookie, `ajs_anonymous_id=${scope.anonymousId}; Path=/; Max-Age=31536000; SameSite=Lax`)
  const url = 'http://shop.example/pricing?plan=pro&utm_campaign=spring&utm_source=mail&utm_term=x'
  const search = url.slice(url.indexOf('?'))
  const where = { url, path: '/pricing', search, referrer: 'https://search.example/' }
  assert.deepEqual(page, { properties: { ...where, host: 'shop.example' } })
  assert.deepEqual([scope.ip, scope.userAgent, scope.locale], ['192.0.2.1', 'Mozilla/5.0', 'de-AT'])
  assert.deepEqual(scope.context, { page: where, campaign: { name: 'spring', source: 'mail', term: 'x' } })
})

const COOKIES: [written: string, cookie: string, id: string][] = [
  ['plain', 'ajs_anonymous_id=abc-1', 'abc-1'],
  ['percent-encoded', 'other=1; ajs_anonymous_id=a%20b', 'a b'],
  ['as a JSON string, by an older analytics.js', 'ajs_anonymous_id=%22abc-1%22; x=y', 'abc-1'],
  ['twice, the more specific path first', 'ajs_anonymous_id=first; ajs_anonymous_id=second', 'first'],
]

for (const [written, cookie, id] of COOKIES) {
  test(`an anonymous id that a cookie has ${written} is used, and no cookie is set`, () => {
    const view = pageView(visit('/', { cookie: `${cookie}; ajs_user_id=u1` }))
    assert.deepEqual([view.scope.anonymousId, view.scope.userId, view.cookie], [id, 'u1', undefined])
  })
}

for (const value of ['%', '""', '%22open', 'null%00'.repeat(200), '']) {
  test(`a broken id cookie (${value.slice(0, 12)}) is as none`, () => {
    const { scope, cookie } = pageView(visit('/', { cookie: `ajs_anonymous_id=${value}` }))
    assert.match(String(scope.anonymousId), UUID)
    assert.ok(cookie)
  })
}

const NO_PAGES: [name: string, request: PageRequest][] = [
  ['a POST', visit('/', {}, { method: 'POST' })],
  ['an API call', visit('/', { accept: 'application/json' })],
  ["a script's fetch", visit('/', { 'sec-fetch-dest': 'empty' })],
  ['an image', visit('/a.png', { 'sec-fetch-dest': 'image' })],
  ['a frame', visit('/', { 'sec-fetch-dest': 'iframe' })],
  ['a prefetch', visit('/', { 'sec-purpose': 'prefetch' })],
  ['a prerendering', visit('/', { 'sec-purpose': 'prefetch;prerender' })],
  ["Firefox's prefetch", visit('/', { 'x-moz': 'prefetch' })],
  ["Next's prefetch", visit('/', { 'next-router-prefetch': '1' })],
  ['an excluded path', visit('/admin/users')],
  ['a Host that is none', visit('/', { host: 'a b' })],
]

for (const [name, request] of NO_PAGES) {
  test(`${name} is no page view and sets no cookie, but known ids are used`, () => {
    const view = pageView(request, { exclude: ['/admin'] })
    assert.deepEqual([view.page, view.cookie, view.scope.anonymousId], [undefined, undefined, undefined])
    const headers = { ...(request.headers as Record<string, string>), cookie: 'ajs_anonymous_id=abc' }
    assert.equal(pageView({ ...request, headers }).scope.anonymousId, 'abc')
  })
}

test('proxy headers are believed only as far as proxies are trusted', () => {
  const forged = visit(
    '/x',
    {
      'x-forwarded-for': '6.6.6.6, 198.51.100.7, 10.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'www.shop.example',
    },
    { ip: '10.0.0.2' },
  )
  const address = (trustProxy: number) => {
    const { scope, page } = pageView(forged, { trustProxy })
    return [scope.ip, page?.properties.url]
  }
  assert.deepEqual(address(0), ['10.0.0.2', 'http://shop.example/x'])
  assert.deepEqual(address(1), ['10.0.0.1', 'https://www.shop.example/x'])
  assert.deepEqual(address(2), ['198.51.100.7', 'https://www.shop.example/x'])
})

test('over https the cookie is Secure, and its domain is as told', () => {
  const { cookie } = pageView(visit('https://shop.example/'), { cookieDomain: 'shop.example' })
  assert.match(String(cookie), /; SameSite=Lax; Domain=shop.example; Secure$/)
})

test('a path of two slashes is a path', () => {
  assert.equal(pageView(visit('//evil.example/x')).page?.properties.path, '//evil.example/x')
})

test('who opted out gets neither cookie nor page view nor context', () => {
  const view = pageView(visit('/', { 'sec-gpc': '1', cookie: 'ajs_user_id=u1' }), {
    optOut: globalPrivacyControl,
  })
  assert.deepEqual(view, { scope: {}, page: undefined, cookie: undefined })
  assert.ok(pageView(visit('/'), { optOut: globalPrivacyControl }).page)
})

test('consent, user and account come from the options', () => {
  const { scope } = pageView(visit('/', { cookie: 'ajs_user_id=old' }), {
    consent: () => ({ analytics: true, ads: false }),
    userId: () => 'u1',
    account: () => 'acme',
  })
  assert.deepEqual(scope.context?.consent, { categoryPreferences: { analytics: true, ads: false } })
  assert.deepEqual([scope.userId, scope.account], ['u1', 'acme'])
})

test('a page was shown by HTML that succeeded, or is the one the browser has', () => {
  assert.ok(showedPage(200, 'text/html; charset=utf-8') && showedPage(304, '') && showedPage(200, undefined))
  assert.ok(!showedPage(204, undefined) && !showedPage(500, undefined))
  assert.ok(
    !showedPage(200, 'application/json') && !showedPage(302, 'text/html') && !showedPage(404, 'text/html'),
  )
})
