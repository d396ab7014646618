import { type Configure, example } from '../command.ts'
import { renderTable } from '../render/table.ts'

const MARKS = { ok: 'ok', warning: 'note', error: 'FAULT' }

export const configure: Configure = (command, act) => {
  example(command, 'mlv doctor')
  command.action(
    act(async ({ output, surroundings, project }) => {
      const { examine } = await import('../../workspace/examine.ts')
      const findings = await examine(process.versions.node, surroundings.env, project)
      output.answer(findings, () =>
        renderTable(
          findings.map(({ state, subject, words, hint }) => [
            MARKS[state],
            subject,
            state === 'ok' || !hint ? words : `${words}. ${hint}`,
          ]),
        ),
      )
      return findings.some(({ state }) => state === 'error') ? 1 : 0
    }),
  )
}
