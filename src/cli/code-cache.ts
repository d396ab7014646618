import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { Script } from 'node:vm'

/** Loads a built CommonJS file with the machine code that V8 kept from an earlier run: parsing it anew would be a third of a short command's
 *  time. What is kept is derived, per use, and may be deleted at any time; V8 refuses it when the file or Node has changed.
 *  @param use which parts of the file will run, such as a command's name
 *  @returns the file's exports, and what keeps the code for the next run: to be called at the end, when V8 has compiled what was needed */
export function loadWithCodeCache(file: string, version: string, use: string): { exports: unknown; keep: () => void } {
  const cache = cachePath(version, use)
  const source = readFileSync(file, 'utf8')
  const cachedData = cache === undefined ? undefined : readIfThere(cache)
  const script = new Script(`(function(exports,require,module,__filename,__dirname){${source}\n})`, {
    filename: file,
    cachedData,
  })
  const module = { exports: {} }
  const wrapper = script.runInThisContext()
  wrapper.call(module.exports, module.exports, createRequire(file), module, file, dirname(file))
  const isKept = cachedData !== undefined && !script.cachedDataRejected
  return {
    exports: module.exports,
    keep: () => {
      if (cache !== undefined && !isKept) write(cache, script.createCachedData())
    },
  }
}

/** @returns undefined where there is no place for caches, or the user wants none */
function cachePath(version: string, use: string): string | undefined {
  const { XDG_CACHE_HOME, NODE_DISABLE_COMPILE_CACHE } = process.env
  if (NODE_DISABLE_COMPILE_CACHE || !/^[a-z-]{1,20}$/.test(use)) return undefined
  try {
    return join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mlv', `code-${version}-${process.version}-${process.arch}`, use)
  } catch {
    return undefined
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

/** Flushed before it gets its name: V8 takes it at its word. */
function write(path: string, code: Buffer): void {
  const temporary = `${path}.${process.pid}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const file = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(file, code)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
  } catch {
    // A full or read-only disk, or a folder of another user's, only costs the next command a few milliseconds.
    try {
      rmSync(temporary, { force: true })
    } catch {}
  }
}
