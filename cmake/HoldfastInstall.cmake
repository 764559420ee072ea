# cmake --install: the program, a sandboxed systemd unit, its system user and state directory, a commented configuration
# and bash completion.
install(TARGETS holdfast RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
configure_file("${PROJECT_SOURCE_DIR}/packaging/holdfast.service.in" "${PROJECT_BINARY_DIR}/holdfast.service" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/holdfast.service" DESTINATION lib/systemd/system)
install(FILES "${PROJECT_SOURCE_DIR}/packaging/holdfast.sysusers" DESTINATION lib/sysusers.d RENAME holdfast.conf)
install(FILES "${PROJECT_SOURCE_DIR}/packaging/holdfast.tmpfiles" DESTINATION lib/tmpfiles.d RENAME holdfast.conf)
# A configuration that is there is the administrator's: an upgrade must not undo it.
install(CODE "
  set(directory \"${CMAKE_INSTALL_FULL_SYSCONFDIR}/holdfast\")
  if(EXISTS \"\$ENV{DESTDIR}\${directory}/holdfast.toml\")
    message(STATUS \"Kept: \$ENV{DESTDIR}\${directory}/holdfast.toml\")
  else()
    file(INSTALL \"${PROJECT_SOURCE_DIR}/packaging/holdfast.toml\" DESTINATION \"\${directory}\")
  endif()
")
# The completion script is generated from the verb table, by the program that is being installed.
install(CODE "
  set(completions \"\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_DATAROOTDIR}/bash-completion/completions\")
  file(MAKE_DIRECTORY \"\${completions}\")
  execute_process(COMMAND \"$<TARGET_FILE:holdfast>\" completion bash OUTPUT_FILE \"\${completions}/holdfast\"
                  COMMAND_ERROR_IS_FATAL ANY)
")
