import { lstatSync, readFileSync, rmSync, statSync } from 'node:fs'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { type PendingFile, writeFilesAtomic } from '../base/atomic.ts'
import { fileError, MlvError, systemCode } from '../base/errors.ts'
import type { Git, GitPlace } from './git.ts'
import type { Environment } from './git-process.ts'
import {
  findHookBlock,
  formatHookBlock,
  HOOK_NAMES,
  type HookName,
  insertHookBlock,
  isShellScript,
  type MlvProgram,
  removeHookBlock,
} from './hook-script.ts'

/** Where git looks for hooks, and who else uses it. */
export interface HooksFolder {
  folder: string
  /** repository: this clone's own · shared: in the work tree, so for everyone who clones · user: outside, for other repositories, too */
  scope: 'repository' | 'shared' | 'user'
}

export interface HookStatus {
  name: HookName
  path: string
  /** other: there is a hook, and it does not call mlv · outdated: it calls mlv otherwise than install would now */
  state: 'installed' | 'outdated' | 'other' | 'absent'
}

/** One hook's next text; undefined deletes the file. */
export interface HookEdit {
  name: HookName
  path: string
  text: string | undefined
}

function isInside(path: string, folder: string): boolean {
  const inside = relative(folder, path)
  return inside === '' || !(inside.startsWith('..') || isAbsolute(inside))
}

/** Finds the folder of hooks, as core.hooksPath says. A relative one counts from the top of the work tree. */
export async function findHooksFolder(git: Git, env: Environment): Promise<HooksFolder> {
  const { place } = git
  const configured = await git.config('core.hooksPath')
  if (!configured) return { folder: join(place.commonDir, 'hooks'), scope: 'repository' }
  const folder = resolve(place.workTree, configured.replace(/^~(?=\/|$)/, env.HOME ?? '~'))
  return { folder, scope: scopeOf(folder, place) }
}

function scopeOf(folder: string, place: GitPlace): HooksFolder['scope'] {
  if (isInside(folder, place.commonDir) || isInside(folder, place.gitDir)) return 'repository'
  return isInside(folder, place.workTree) ? 'shared' : 'user'
}

function readHook(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined
    throw fileError(error, 'reading', path)
  }
}

/** A committed hook must not name a path of this machine. */
function blockFor(name: HookName, hooks: HooksFolder, program: MlvProgram): string {
  return formatHookBlock(name, hooks.scope === 'shared' ? undefined : program)
}

/** Says what each of mlv's hooks does now. */
export function readHooks(hooks: HooksFolder, program: MlvProgram): HookStatus[] {
  return HOOK_NAMES.map((name): HookStatus => {
    const path = join(hooks.folder, name)
    const text = readHook(path)
    const block = text === undefined ? undefined : findHookBlock(text)
    const state =
      text === undefined
        ? 'absent'
        : block === undefined
          ? 'other'
          : block === blockFor(name, hooks, program)
            ? 'installed'
            : 'outdated'
    return { name, path, state }
  })
}

/** @throws HOOK_FOREIGN where lines of ours would break a hook, wake a sleeping one, or change a file elsewhere */
function checkHook(path: string, text: string, name: HookName): void {
  const refuse = (what: string, hint: string) => new MlvError('HOOK_FOREIGN', `${path} ${what}`, { hint })
  const line = `mlv hook ${name} "$@"`
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) throw refuse('is a link to another file', `Add this line to that file: ${line}`)
  if (!isShellScript(text)) throw refuse('is not a shell script', `Let it run this command: ${line}`)
  if (process.platform !== 'win32' && !(stats.mode & 0o100))
    throw refuse(
      'is not executable, so git does not run it',
      `Delete it, or wake it with "chmod +x ${path}"; then install again.`,
    )
}

/** What installing changes; hooks that are as they should be are left out. Every hook is looked at before any is changed. @throws HOOK_FOREIGN */
export function planInstall(hooks: HooksFolder, program: MlvProgram, names: readonly HookName[] = HOOK_NAMES): HookEdit[] {
  const place = statSync(hooks.folder, { throwIfNoEntry: false })
  if (place && !place.isDirectory())
    throw new MlvError('HOOK_FOREIGN', `core.hooksPath is ${hooks.folder}, which is no folder: git runs no hooks`, {
      hint: 'Run "git config --unset core.hooksPath", then install again.',
    })
  return names.flatMap((name): HookEdit[] => {
    const path = join(hooks.folder, name)
    const text = readHook(path)
    if (text !== undefined) checkHook(path, text, name)
    const next = insertHookBlock(text ?? '', blockFor(name, hooks, program))
    return next === text ? [] : [{ name, path, text: next }]
  })
}

/** Takes mlv's lines out of every hook, and deletes the hooks that held nothing else. */
export function planUninstall(hooks: HooksFolder): HookEdit[] {
  return HOOK_NAMES.flatMap((name): HookEdit[] => {
    const path = join(hooks.folder, name)
    const text = readHook(path)
    return text === undefined || findHookBlock(text) === undefined ? [] : [{ name, path, text: removeHookBlock(text) }]
  })
}

/** @throws FILE_UNWRITABLE, DISK_FULL */
export function applyHookEdits(edits: HookEdit[]): void {
  const files = edits.flatMap(({ path, text }): PendingFile[] => {
    const mode = lstatSync(path, { throwIfNoEntry: false })?.mode
    return text === undefined ? [] : [{ path, bytes: text, mode: mode === undefined ? 0o777 : mode & 0o777 }]
  })
  writeFilesAtomic(files)
  for (const { path, text } of edits) {
    if (text !== undefined) continue
    try {
      rmSync(path)
    } catch (error) {
      throw fileError(error, 'writing', path)
    }
  }
}
