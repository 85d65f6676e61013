"""Values of Emacs Lisp as text."""
