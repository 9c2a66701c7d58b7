# ROS 2 from PyPI wheels: their CMake exports name include folders of the
# machine that built them, which CMake refuses. Drop the folders that do not
# exist. Passed as CMAKE_PROJECT_INCLUDE; a normal ROS installation needs none of this.
function(_drop_foreign_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(includes)
      set(kept "")
      foreach(folder IN LISTS includes)
        if(folder MATCHES "^\\$<" OR EXISTS "${folder}")
          list(APPEND kept "${folder}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _drop_foreign_includes)
