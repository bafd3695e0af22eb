// Types of scripts.mjs, for tests in TypeScript.
export interface Output {
  path: string
  contents: Uint8Array
}

export function scripts(options?: { write?: boolean }): Promise<Array<{ outputFiles: Output[] }>>
