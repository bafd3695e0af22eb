// The script for a tag with every plug-in: `data-plugins="signals spa"` names those that run, in this order, with their defaults.
// `window.headwaterPlugins` has all of them, for pages that call `headwater.load(key, {plugins: [...]})` themselves.
import { boot } from '../boot.js'
import type { Plugin } from '../plugin.js'
import * as all from './index.js'

const { signals, sessions, spa, links, forms, vitals, gpc, cookieless, attribution } = all
const NAMED: Record<string, () => Plugin> = {
  signals,
  sessions,
  spa,
  links,
  forms,
  vitals,
  gpc,
  cookieless,
  attribution,
}
const script = document.currentScript as HTMLScriptElement | null
const page = window as unknown as Record<string, unknown>
const wanted = (script?.dataset.plugins ?? '').split(/[\s,]+/).filter(Boolean)

page.headwaterPlugins = all
boot(
  page,
  script,
  wanted.flatMap((name) => NAMED[name]?.() ?? unknown(name)),
)

function unknown(name: string): [] {
  // biome-ignore lint/suspicious/noConsole: a mistake in the page's own tag, told to its developer
  console.error(`headwater: data-plugins names ${name}; there are ${Object.keys(NAMED).join(', ')}`)
  return []
}
