import { describe, expect, it } from 'vitest';
import { createProgram } from '../../cli/main.ts';
import { commandNames } from '../../cli/command-names.ts';
import { OPERATIONS } from '../../clients/typescript/index.ts';

describe('commands', () => {
  const names = commandNames(OPERATIONS);
  const program = createProgram();

  it('reach every operation of the API, under names of their own', () => {
    expect(names.size).toBe(Object.keys(OPERATIONS).length);
    expect(new Set([...names.values()].map(({ group, verb }) => `${group} ${verb}`)).size).toBe(names.size);
    for (const [id, { group, verb }] of names) {
      const found = program.commands.find((command) => command.name() === group)?.commands.find((command) => command.name() === verb);
      expect(found, `${id}: hal9 ${group} ${verb}`).toBeDefined();
      expect(found?.description(), id).not.toBe('');
    }
  });

  it('are called as people would call them', () => {
    const command = (id: string) => Object.values(names.get(id) ?? {}).join(' ');
    expect(['listApiKeys', 'revokeApiKey', 'listNeurons', 'dryRunAutomation', 'listTeamMembers', 'approveApproval', 'exportAudit', 'rotateConnection', 'listRunFailures'].map(command)).toEqual([
      'keys list', 'keys revoke', 'neurons list', 'automations dry-run', 'teams list-members', 'approvals approve', 'audit export', 'connections rotate', 'runs list-failures',
    ]);
  });

  it('take every parameter of their operation, and no secret as an argument', () => {
    for (const group of program.commands) {
      for (const command of group.commands) {
        const flags = command.options.map((option) => option.long);
        expect(new Set(flags).size, command.name()).toBe(flags.length);
        expect(flags.filter((flag) => /key$|password|secret/.test(flag ?? '') && flag !== '--idempotency-key' && flag !== '--concurrency-key'), `${group.name()} ${command.name()}`).toEqual([]);
      }
    }
  });
});
