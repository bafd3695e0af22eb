// headwater.core.js, the least: the queue is in memory, and what is unsent when the page goes leaves by keepalive.
import { start } from './start.js'

start(window as unknown as Record<string, unknown>, document.currentScript as HTMLScriptElement | null)
