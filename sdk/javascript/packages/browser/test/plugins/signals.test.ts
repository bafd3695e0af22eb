// Signals: an ordinary browser says nothing, each sign is seen, and nothing tells two people apart.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { look } from '../../src/plugins/signals.js'

const WINDOWS =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36'
const PIXEL =
  'Mozilla/5.0 (Linux; Android 16; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36'
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0'
const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1'
const BRANDS = [{ brand: 'Not=A?Brand' }, { brand: 'Chromium' }, { brand: 'Google Chrome' }]
const DESKTOP = { brands: BRANDS, mobile: false, platform: 'Windows' }

type Given = { navigator?: object; document?: object; [name: string]: unknown }

/** Looks at a window of desktop Chrome with some things changed. */
function seen({ navigator = {}, document = {}, ...page }: Given = {}) {
  const browser = {
    userAgent: WINDOWS,
    webdriver: false,
    languages: ['en'],
    plugins: { length: 5 },
    userAgentData: DESKTOP,
  }
  const all = {
    navigator: { ...browser, ...navigator },
    document,
    outerWidth: 1200,
    outerHeight: 800,
    ...page,
  }
  return look(all as unknown as Parameters<typeof look>[0])
}

test('ordinary browsers all say the same and nothing more', () => {
  const phone = {
    userAgent: PIXEL,
    plugins: { length: 0 },
    userAgentData: { brands: BRANDS, mobile: true, platform: 'Android' },
  }
  const others = [
    {},
    { navigator: phone },
    { navigator: { userAgent: FIREFOX, userAgentData: undefined, plugins: { length: 5 } } },
    { navigator: { userAgent: IPHONE, userAgentData: undefined, plugins: { length: 0 } } },
    { navigator: { connection: { rtt: 50 } }, gtag: () => 0, dataLayer: [], __NEXT_DATA__: {}, cdc: 1 },
    { navigator: { userAgentData: { ...DESKTOP, platform: 'Fuchsia' } } },
    {
      navigator: {
        userAgent: `${PIXEL.replace('K)', 'K; wv)')}`,
        plugins: { length: 0 },
        connection: { rtt: 0 },
        userAgentData: { brands: BRANDS, mobile: true, platform: 'Android' },
      },
    },
  ]
  for (const page of others) assert.deepEqual(seen(page), { v: 1 }, JSON.stringify(page))
})

const cases: [string, Given, object][] = [
  ['a browser that is driven', { navigator: { webdriver: true } }, { webdriver: true }],
  ['Playwright', { __playwright__binding__: 1 }, { driver: 'playwright' }],
  ['Puppeteer', { puppeteer_evaluation_script: 1 }, { driver: 'puppeteer' }],
  ['Selenium in the document', { document: { $cdc_asdjflasutopfhvcZLmcfl_: 1 } }, { driver: 'selenium' }],
  ['Selenium of old', { document: { __webdriver_script_fn: 1 } }, { driver: 'selenium' }],
  ['Cypress', { Cypress: 1 }, { driver: 'cypress' }],
  ['PhantomJS', { callPhantom: 1 }, { driver: 'phantom' }],
  ['Nightmare', { __nightmare: 1 }, { driver: 'nightmare' }],
  ['a browser in automation mode', { domAutomation: 1 }, { driver: 'automation' }],
  [
    'headless client hints',
    { navigator: { userAgentData: { ...DESKTOP, brands: [{ brand: 'HeadlessChrome' }] } } },
    { headless: true },
  ],
  ['no language', { navigator: { languages: [] } }, { languages: 0 }],
  ['no plug-in', { navigator: { plugins: { length: 0 } } }, { plugins: 0 }],
  ['a window without size', { outerWidth: 0, outerHeight: 0 }, { outer: 0 }],
  ['no latency', { navigator: { connection: { rtt: 0 } } }, { rtt: 0 }],
  [
    'an agent of Firefox on Chromium',
    { navigator: { userAgent: FIREFOX.replace('X11; Linux x86_64', 'Windows NT 10.0') } },
    { mismatch: ['brands'] },
  ],
  [
    'a phone that says it is a desktop',
    { navigator: { userAgentData: { ...DESKTOP, mobile: true } } },
    { mismatch: ['mobile'] },
  ],
  [
    'another system',
    { navigator: { userAgentData: { ...DESKTOP, platform: 'Linux' } } },
    { mismatch: ['platform'] },
  ],
]

for (const [name, page, sign] of cases) {
  test(`${name} is seen`, () => assert.deepEqual(seen(page), { v: 1, ...sign }))
}
