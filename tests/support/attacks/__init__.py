"""What is proven about attacks: docs/generate.py prints both tables, tests/attacks checks them, make mutants runs one.

kinds      what a line of each table is
table      attacks: what the attacker sees, what the log says, and the tests
audit      both of the audit log
guards     what stands in the way: each with a patch that removes it, and the test that must fail then
"""
