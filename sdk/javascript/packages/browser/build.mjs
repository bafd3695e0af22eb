// `npm run build`: ESM, CJS, the scripts for a tag, and declarations.
import { clean, declarations, modules } from '../../tools/bundle.mjs'
import { scripts } from '../../tools/scripts.mjs'

const target = 'es2019'

clean()
await modules('src/index.ts', 'index', { target })
await modules('src/plugins/index.ts', 'plugins', { target })
await scripts()
declarations()
