import { MlvError } from '../../base/errors.ts'
import type { HookName, MlvProgram } from '../../git/hook-script.ts'
import type { HookEdit, HookStatus, HooksFolder } from '../../git/install.ts'
import type { Surroundings } from '../../workspace/project.ts'
import { type Configure, example } from '../command.ts'
import { renderTable } from '../render/table.ts'

const SCOPE_WORDS: Record<HooksFolder['scope'], string> = {
  repository: '',
  shared: ' (core.hooksPath; git tracks this folder for everyone, so these hooks find mlv on PATH)',
  user: ' (core.hooksPath; these hooks serve your other repositories, too, and do nothing in those without mlv)',
}

const STATE_WORDS: Record<HookStatus['state'], string> = {
  installed: 'installed',
  outdated: 'installed, and outdated: run "mlv hooks install"',
  other: 'a hook is there that does not call mlv',
  absent: 'not installed',
}

/** How hooks start this mlv again. The path as called: a link to it outlives an upgrade. */
function ownProgram(): MlvProgram {
  return { node: process.execPath, script: process.argv[1]! }
}

async function openHooks(surroundings: Surroundings): Promise<HooksFolder> {
  const [{ requireGit }, { openGit }, { findHooksFolder }] = await Promise.all([
    import('../../workspace/open-project.ts'),
    import('../../git/open-git.ts'),
    import('../../git/install.ts'),
  ])
  const git = await openGit(requireGit(surroundings.cwd), surroundings.env)
  try {
    return await findHooksFolder(git, surroundings.env)
  } finally {
    git.close()
  }
}

async function parseNames(typed: string[]): Promise<HookName[] | undefined> {
  const { HOOK_NAMES } = await import('../../git/hook-script.ts')
  const unknown = typed.find((name) => !(HOOK_NAMES as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new MlvError('USAGE', `mlv has nothing to do in a hook "${unknown}"`, {
      hint: `Its hooks are: ${HOOK_NAMES.join(', ')}.`,
    })
  return typed.length === 0 ? undefined : (typed as HookName[])
}

function renderEdits(edits: HookEdit[], done: string, nothing: string): string {
  return edits.length === 0 ? nothing : edits.map(({ path }) => `${done}  ${path}`).join('\n')
}

export const configure: Configure = (command, act) => {
  const install = command
    .command('install')
    .description('let git place data after a switch or merge, and push data before it pushes commits')
    .argument('[hooks...]', 'only these: post-checkout, post-merge, post-rewrite, pre-commit, pre-push')
  example(install, 'mlv hooks install', 'mlv hooks install pre-push')
  install.action(
    act(async ({ output, surroundings }, typed: string[]) => {
      const names = await parseNames(typed)
      const { applyHookEdits, planInstall } = await import('../../git/install.ts')
      const hooks = await openHooks(surroundings)
      const edits = planInstall(hooks, ownProgram(), names)
      applyHookEdits(edits)
      output.answer({ ...hooks, written: edits.map(({ path }) => path) }, () => {
        if (output.quiet) return ''
        const words = SCOPE_WORDS[hooks.scope]
        return (
          renderEdits(edits, 'wrote', 'all hooks are installed already') +
          (words && edits.length > 0 ? `\n${hooks.folder}${words}` : '')
        )
      })
    }),
  )
  const uninstall = command.command('uninstall').description('take mlv out of the hooks; other lines in them stay')
  example(uninstall, 'mlv hooks uninstall')
  uninstall.action(
    act(async ({ output, surroundings }) => {
      const { applyHookEdits, planUninstall } = await import('../../git/install.ts')
      const hooks = await openHooks(surroundings)
      const edits = planUninstall(hooks)
      applyHookEdits(edits)
      output.answer({ ...hooks, changed: edits.map(({ path }) => path) }, () =>
        output.quiet ? '' : renderEdits(edits, 'took mlv out of', 'no hook calls mlv'),
      )
    }),
  )
  const status = command.command('status').description('say which hooks call mlv')
  example(status, 'mlv hooks status')
  status.action(
    act(async ({ output, surroundings }) => {
      const { readHooks } = await import('../../git/install.ts')
      const hooks = await openHooks(surroundings)
      const statuses = readHooks(hooks, ownProgram())
      output.answer({ ...hooks, hooks: statuses }, () =>
        renderTable(statuses.map(({ name, state }) => [name, STATE_WORDS[state]])),
      )
    }),
  )
  example(command, 'mlv hooks install')
}
