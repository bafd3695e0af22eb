// Starts the core with the offline queue: the usual script, and the one with every plug-in.
import { offline } from './offline.js'
import type { Plugin } from './plugin.js'
import { type Global, type Script, start } from './start.js'

export const boot = (page: Global, script: Script, plugins?: Plugin[]): void =>
  start(page, script, plugins, offline)
