// Lets Node 20 run TypeScript tests as they are: `node --import ../../tools/typescript.mjs --test test/*.test.ts`.
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)
