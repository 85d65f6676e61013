;;; echo.el --- Emacs starts Python and calls it, Python calls Emacs  -*- lexical-binding: t -*-

;; In a terminal:  emacs --batch -l echo.el
;; In Emacs:       M-x load-file RET echo.el RET, then M-x echo-demo-say

;;; Code:

(require 'epc)

(defvar echo-demo-folder (file-name-directory (or load-file-name buffer-file-name)))
(defvar echo-demo
  (epc:start-epc (or (getenv "PYTHON") "python3")
                 (list (expand-file-name "echo.py" echo-demo-folder)))
  "The connection to the Python program.")

;; What Python may call.
(epc:define-method echo-demo 'add #'+ "NUMBERS" "Add numbers.")

(defun echo-demo-say (text)
  "Send TEXT to Python and show what comes back."
  (interactive "sText: ")
  (deferred:nextc (epc:call-deferred echo-demo 'echo (list text))
    (lambda (back) (message "Python says: %S" back))))

(defun echo-demo-stop ()
  "End the Python program."
  (interactive)
  (epc:stop-epc echo-demo))

(when noninteractive
  (setq epc:accept-process-timeout 10)  ; milliseconds that a synchronous call sleeps at a time
  (dolist (value (list "a text" 1.5 '(a (list) "of" [things]) nil '(:key "value") '(a . b)))
    (princ (format "echo %S -> %S\n" value (car (epc:call-sync echo-demo 'echo (list value))))))
  (princ (format "Emacs adds for Python: %S\n" (epc:call-sync echo-demo 'add_in_emacs '(1 2 3))))
  (princ (format "an error: %S\n" (condition-case err (epc:call-sync echo-demo 'divide '(1 0))
                                    (error (format "%S" err)))))
  (dolist (method (epc:sync echo-demo (epc:query-methods-deferred echo-demo)))
    (princ (format "method %S: %s\n" (car method) (nth 2 method))))
  (echo-demo-stop)
  (princ "stopped\n"))

;;; echo.el ends here
