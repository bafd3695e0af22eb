// A page to render into, and a client that notes its calls.
import { after } from 'node:test'
import { Window } from 'happy-dom'
import { inert } from '../src/client.js'

/** Puts a window where React looks for one, before `react-dom` is imported. */
export function openWindow(): Window {
  const page = new Window({ url: 'https://app.example.com/start' })
  const { document, navigator } = page
  const globals = { window: page, document, navigator, IS_REACT_ACT_ENVIRONMENT: true }
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true }) // Node has a navigator that is read-only
  }
  after(async () => {
    await page.happyDOM.close()
    for (const name of Object.keys(globals)) Reflect.deleteProperty(globalThis, name)
  })
  return page
}

/** A client of which every call is noted as [method, ...arguments]. */
export function noting() {
  const calls: unknown[][] = []
  const note =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args])
      return Promise.resolve()
    }
  const names = ['track', 'page', 'identify', 'group'] as const
  const client = { ...inert, ...Object.fromEntries(names.map((name) => [name, note(name)])) } as typeof inert
  return { client, calls }
}
