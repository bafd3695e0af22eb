// The package as it is published, and scripts that use it in processes of their own.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const PACKAGE = fileURLToPath(new URL('../../', import.meta.url))

/** The path of a built file. Throws where the build is missing or older than the source. */
export function built(name = 'index.js'): string {
  const path = join(PACKAGE, 'dist', name)
  const newest = Math.max(
    ...readdirSync(join(PACKAGE, 'src')).map((file) => statSync(join(PACKAGE, 'src', file)).mtimeMs),
  )
  if (!existsSync(path) || statSync(path).mtimeMs < newest) {
    throw new Error(`${path} is missing or older than src: run npm run build`)
  }
  return path
}

/** The program of a runtime that is a devDependency; throws where it is not installed. */
export function runtime(name: 'deno' | 'bun'): string {
  const root = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))
  return join(root, '..', '.bin', name)
}

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs `script` as a module that has `Analytics` and `host`. */
export function start(
  script: string,
  host: string,
  program = process.execPath,
  flags: string[] = ['--input-type=module', '--eval'],
): ChildProcess {
  const source = `import { Analytics } from ${JSON.stringify(built())}; const host = ${JSON.stringify(host)};\n${script}`
  return spawn(program, [...flags, source], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: '1' },
  })
}

export async function finished(child: ChildProcess): Promise<Finished> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}
