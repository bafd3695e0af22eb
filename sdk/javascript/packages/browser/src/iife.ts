// The script for a tag, without plug-ins; `plugins/full.ts` is the one with all of them.
import { boot } from './boot.js'

boot(window as unknown as Record<string, unknown>, document.currentScript as HTMLScriptElement | null)
