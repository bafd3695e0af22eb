// headwater.js, the usual script for a tag: the core and the offline queue; `plugins/full.ts` is the one with all plug-ins.
import { boot } from './boot.js'

boot(window as unknown as Record<string, unknown>, document.currentScript as HTMLScriptElement | null)
