// Signs that a program drives the browser, as `context.signals`, for the bot filter of the pipeline.
//
// Facts, and only unusual ones: an ordinary browser says `{v: 1}` and no more, so that nothing here tells two people apart.
// What they weigh is the server's business. No canvas, no WebGL, no fonts: those cost the page time and are fingerprints.
import type { Plugin } from '../plugin.js'

export interface Signals {
  /** Version of this object. */
  v: 1
  /** navigator.webdriver */
  webdriver?: true
  /** The tool whose property is in the page. */
  driver?: string
  /** Client hints name a headless browser. */
  headless?: true
  /** Client hints that contradict the user agent. */
  mismatch?: ('brands' | 'mobile' | 'platform')[]
  /** No language, no plug-in in a desktop Chromium, no window size, no latency. */
  languages?: 0
  plugins?: 0
  outer?: 0
  rtt?: 0
  /** Notifications are denied and yet to be asked for. */
  permission?: true
  /** Every click was made by a script; or a mouse clicked that never moved. */
  input?: 'untrusted' | 'still'
}

type Hints = { brands?: { brand: string }[]; mobile?: boolean; platform?: string }
type Seen = Window &
  typeof globalThis & { navigator: Navigator & { userAgentData?: Hints; connection?: { rtt?: number } } }

/** Each looks through the names of all properties at once, one a line. */
const DRIVERS: [string, RegExp][] = [
  ['playwright', /^__(playwright|pw)/m],
  ['puppeteer', /^__puppeteer|^puppeteer_evaluation/m],
  ['selenium', /^\$?cdc_[a-z]{10}|^__?(\$?webdriver|selenium|driver|fxdriver)_|^_Selenium_IDE/im],
  ['cypress', /^(__)?[Cc]ypress$/m],
  ['phantom', /^(call|_)[Pp]hantom|^__phantomas$/m],
  ['nightmare', /^__nightmare$/m],
  ['automation', /^domAutomation(Controller)?$/m],
]
const SYSTEMS: [RegExp, RegExp][] = [
  [/^Windows$/, /Windows/],
  [/^macOS$/, /Macintosh/],
  [/^Android$/, /Android/],
  [/^Chrome ?OS$|^Chromium OS$/, /CrOS/],
  [/^Linux$/, /Linux|X11/],
]

/** Adds `context.signals` to every event. */
export function signals(): Plugin {
  let found: Signals | undefined
  return {
    name: 'signals',
    setup() {
      found = look(window as Seen)
      askPermission(found)
      watchInput(found)
    },
    enrich(message) {
      if (found) message.context.signals = { ...found }
      return message
    },
  }
}

/** What one look at a window says; what only time can tell is added to the same object. */
export function look(w: Seen): Signals {
  const { navigator } = w
  const found: Signals = { v: 1 }
  const hints = navigator.userAgentData
  const agent = navigator.userAgent
  if (navigator.webdriver) found.webdriver = true
  const driver = driverIn([...Object.keys(w), ...Object.keys(w.document)])
  if (driver) found.driver = driver
  if (hints?.brands?.some(({ brand }) => brand.includes('Headless'))) found.headless = true
  const mismatch = hints ? mismatches(hints, agent) : []
  if (mismatch.length) found.mismatch = mismatch
  if (navigator.languages && !navigator.languages.length) found.languages = 0
  if (/Chrome\//.test(agent) && !/Mobile|Android/.test(agent) && navigator.plugins?.length === 0)
    found.plugins = 0
  if (!w.outerWidth && !w.outerHeight) found.outer = 0
  // Web views of Android say 0 always.
  if (navigator.connection?.rtt === 0 && !/; wv\)/.test(agent)) found.rtt = 0
  return found
}

function driverIn(names: string[]): string | undefined {
  const lines = names.join('\n')
  return DRIVERS.find(([, sign]) => sign.test(lines))?.[0]
}

function mismatches(hints: Hints, agent: string): NonNullable<Signals['mismatch']> {
  const found: NonNullable<Signals['mismatch']> = []
  const brands = (hints.brands ?? []).map(({ brand }) => brand)
  if (brands.length && !/Chrome\/|Headless/.test(agent)) found.push('brands')
  if (hints.mobile && !/Mobile|Android/.test(agent)) found.push('mobile')
  const system = SYSTEMS.find(([name]) => name.test(hints.platform ?? ''))
  if (system && !system[1].test(agent)) found.push('platform')
  return found
}

function askPermission(found: Signals): void {
  if (typeof Notification === 'undefined' || Notification.permission !== 'denied' || !navigator.permissions)
    return
  navigator.permissions.query({ name: 'notifications' }).then(
    ({ state }) => {
      if (state === 'prompt') found.permission = true
    },
    () => undefined, // a browser that does not know the name has nothing to contradict
  )
}

function watchInput(found: Signals): void {
  let moved = false
  let trusted = false
  const options = { capture: true, passive: true }
  addEventListener(
    'pointermove',
    () => {
      moved = true
    },
    { ...options, once: true },
  )
  addEventListener(
    'click',
    (event) => {
      if (event.isTrusted) trusted = true
      // Keyboards and screen readers click too: those have no pointer type. A finger need not move before it taps.
      const still = event.isTrusted && !moved && (event as PointerEvent).pointerType === 'mouse'
      if (!trusted) found.input = 'untrusted'
      else if (still) found.input = 'still'
      else delete found.input
    },
    options,
  )
}
