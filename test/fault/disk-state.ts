import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BIN, type Repo } from '../helpers/repo.ts'

/** Files whose bytes hold times, inodes and process ids, which differ from run to run: their sizes must do. */
const OWN = /^\/repo\/\.git\/(?!mlv\/store\/)/
/** What a write that was cut off leaves; readers pass over it, whatever it holds. */
const LEFTOVER = /\/tmp\/|\.mlv-tmp-/
/** Not the world's: what programs keep in a home folder. */
const FOREIGN = '/home'

/** Names that are made by chance, each as a star. */
function plainName(path: string): string {
  return path
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<![0-9a-f])(\d+-)?[0-9a-f]{12,20}(?![0-9a-f])/g, '*')
    .replace(/(?<=\/projects\/).*/, '*')
}

function contentOf(path: string, name: string): string {
  if (LEFTOVER.test(name)) return ''
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) return `→ ${readlinkSync(path)}`
  const size = `${stats.mode} ${stats.size}`
  if (OWN.test(name) || /\/projects\//.test(name)) return size
  // A store's id is made by chance.
  const bytes = name.endsWith('/mlv.json') ? readFileSync(path, 'utf8').replace(/"id": "[^"]*"/, '') : readFileSync(path)
  return `${size} ${createHash('sha256').update(bytes).digest('hex')}`
}

/** What lies on the disk, in one value: equal for worlds whose differences no command should tell. */
export function diskState(root: string): string {
  const lines = new Set<string>()
  const walk = (folder: string) => {
    for (const item of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, item.name)
      const name = plainName(path.slice(root.length))
      if (name === FOREIGN) continue
      if (item.isDirectory()) {
        lines.add(name)
        walk(path)
      } else lines.add(`${name} ${contentOf(path, name)}`)
    }
  }
  walk(root)
  return createHash('sha256')
    .update([...lines].sort().join('\n'))
    .digest('hex')
}

/** Runs a command that halts at each of its points. @returns what lay on the disk at each, in order; undefined where the system cannot tell */
export async function statesAtPoints(repo: Repo, args: string[]): Promise<string[] | undefined> {
  if (process.platform !== 'linux') return undefined
  const env = { ...repo.env, MLV_FAULT: 'stop:1+' } as NodeJS.ProcessEnv
  const child = spawn(process.execPath, [BIN, ...args], { cwd: repo.dir, env, stdio: 'ignore' })
  const ended = new Promise<true>((done) => child.once('close', () => done(true)))
  const states: string[] = []
  for (;;) {
    if (isHalted(child.pid!)) {
      states.push(diskState(dirname(repo.dir)))
      child.kill('SIGCONT')
    }
    if (await Promise.race([ended, sleep(1)])) return states
  }
}

function isHalted(pid: number): boolean {
  try {
    return / T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''))
  } catch {
    // It has ended.
    return false
  }
}
