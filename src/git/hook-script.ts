/** The hooks mlv has work in. post-rewrite is the only one git runs when a rebase ends. */
export const HOOK_NAMES = ['post-checkout', 'post-merge', 'post-rewrite', 'pre-commit', 'pre-push'] as const

export type HookName = (typeof HOOK_NAMES)[number]

/** How a hook starts mlv: by these two paths while both are there, else, and without them, by PATH. */
export interface MlvProgram {
  node: string
  script: string
}

const BEGIN = '# mlv begin: "mlv hooks uninstall" takes these lines out'
const END = '# mlv end'
const BLOCK = /^# mlv begin\b.*\n(?:.*\n)*?# mlv end(?:\n|$)/m

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function callLines(name: HookName, program: MlvProgram | undefined): string[] {
  const push = name === 'pre-push'
  const call = (start: string) =>
    push ? `printf '%s\\n' "$mlv_pushed" | ${start} hook ${name} "$@" >&2 || exit $?` : `${start} hook ${name} "$@" >&2 || :`
  const missing = push
    ? `echo 'error: mlv is not on PATH, so data would stay behind; "git push --no-verify" pushes without it' >&2; exit 1`
    : `echo 'warning: mlv is not on PATH; "mlv hooks uninstall" takes it out of this hook' >&2`
  const lines = ['if [ -n "$MLV_SKIP_HOOKS" ]; then :']
  if (program) {
    const [node, script] = [quote(program.node), quote(program.script)]
    lines.push(`elif [ -x ${node} ] && [ -f ${script} ]; then ${call(`${node} ${script}`)}`)
  }
  return [...lines, `elif command -v mlv >/dev/null 2>&1; then ${call('mlv')}`, `else ${missing}`, 'fi']
}

/** The marked lines that call `mlv hook NAME`. Only pre-push can fail git. What pre-push reads is handed on to the lines below. */
export function formatHookBlock(name: HookName, program: MlvProgram | undefined): string {
  const calls = callLines(name, program)
  const lines = name === 'pre-push' ? ['mlv_pushed=$(cat)', ...calls, 'exec <<MLV_PUSHED', '$mlv_pushed', 'MLV_PUSHED'] : calls
  return `${[BEGIN, ...lines, END].join('\n')}\n`
}

export function findHookBlock(text: string): string | undefined {
  return BLOCK.exec(text)?.[0]
}

/** Puts the block first: scripts often end early with exit or exec, and the first to read stdin gets it all. */
export function insertHookBlock(text: string, block: string): string {
  if (findHookBlock(text) !== undefined) return text.replace(BLOCK, () => block)
  const shebang = /^#!.*(?:\n|$)/.exec(text)?.[0] ?? ''
  const first = shebang === '' ? '#!/bin/sh\n' : shebang.endsWith('\n') ? shebang : `${shebang}\n`
  return first + block + text.slice(shebang.length)
}

/** @returns the script as it was before; undefined when nothing but its first line is left */
export function removeHookBlock(text: string): string | undefined {
  const rest = text.replace(BLOCK, '')
  return /^(?:#!\/bin\/sh\s*)?$/.test(rest) ? undefined : rest
}

/** git runs a script without a `#!` line by sh. */
export function isShellScript(text: string): boolean {
  const shebang = /^#!(.*)/.exec(text)?.[1]
  if (shebang === undefined) return !text.includes('\0')
  return /(?:^|[/\s])(?:ba|da|z|k|a)?sh(?:\s|$)/.test(shebang)
}
