import { existsSync, readFileSync } from 'node:fs'
import { MlvError } from '../../base/errors.ts'
import { quotePath } from '../../base/paths.ts'
import { type Configure, example } from '../command.ts'

export const configure: Configure = (command, act) => {
  command.argument('<stage>', 'its last run').option('-n, --lines <count>', 'only the last lines')
  example(command, 'mlv logs train', 'mlv logs train -n 20')
  command.action(
    act(async ({ output, project: open }, stage: string, options: { lines?: string }) => {
      const project = await open()
      const [{ logPath }, { readPipeline }, { unknownStage }] = await Promise.all([
        import('../../pipeline/stage-log.ts'),
        import('../../pipeline/open-pipeline.ts'),
        import('../../pipeline/unknown-stage.ts'),
      ])
      const count = options.lines === undefined ? undefined : Number(options.lines)
      if (count !== undefined && !(Number.isInteger(count) && count > 0))
        throw new MlvError('USAGE', `-n takes a whole number, not "${options.lines}"`, { hint: 'For example -n 20.' })
      const path = logPath(project, stage)
      if (!/^[^/\\]+$/.test(stage) || !existsSync(path)) {
        const names = (await readPipeline(project))?.stages.map(({ name }) => name) ?? []
        if (!names.includes(stage)) throw unknownStage(stage, names)
        throw new MlvError('PATH_MISSING', `Stage "${stage}" has not run here`, { hint: `Run "mlv repro ${quotePath(stage)}".` })
      }
      const text = [`${path}.1`, path]
        .filter(existsSync)
        .map((file) => readFileSync(file, 'utf8'))
        .join('')
      const shown = count === undefined ? text : lastLines(text, count)
      output.answer({ stage, path, text: shown }, () => shown)
    }),
  )
}

function lastLines(text: string, count: number): string {
  const lines = text.split('\n')
  const ended = lines.at(-1) === '' ? 1 : 0
  return lines.slice(Math.max(0, lines.length - count - ended)).join('\n')
}
